<?php

namespace App\Models;

use Illuminate\Database\Eloquent\SoftDeletes;
use Illuminate\Foundation\Auth\User as Authenticatable;

class User extends Authenticatable
{
    use SoftDeletes;

    protected $fillable = ['name', 'email', 'password', 'phone'];

    protected $hidden = ['password', 'remember_token'];

    public function payments()
    {
        return $this->hasMany(Payment::class);
    }

    /** Null for those who never came back: the column holds a zero date then. */
    public function lastLogin(): ?string
    {
        $at = $this->attributes['last_login_at'] ?? '0000-00-00 00:00:00';

        return strncmp($at, '0000', 4) === 0 ? null : $at;
    }
}
