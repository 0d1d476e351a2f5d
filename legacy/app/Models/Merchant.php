<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;

class Merchant extends Model
{
    protected $guarded = ['id', 'balance'];

    public static function choices()
    {
        return static::where('is_active', 1)->orderBy('name')->get(['id', 'name', 'category']);
    }
}
