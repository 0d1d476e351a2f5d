<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;

class NotificationPreference extends Model
{
    /** What holds for users without a row (accounts from before 2019 have none). */
    const DEFAULTS = [
        'email_enabled' => 1,
        'sms_enabled' => 0,
        'digest' => 'none',
        'salutation' => null,
        'max_per_day' => 20,
        'quiet_hours' => null,
    ];

    protected $primaryKey = 'user_id';

    public $incrementing = false;

    protected $guarded = [];

    protected $attributes = self::DEFAULTS;

    public static function of(int $userId): self
    {
        return static::find($userId) ?? new static(['user_id' => $userId]);
    }

    public function quietHours(): ?object
    {
        return isset($this->attributes['quiet_hours']) ? json_decode($this->attributes['quiet_hours']) : null;
    }

    public function toApi(): array
    {
        return [
            'email_enabled' => (bool) $this->email_enabled,
            'sms_enabled' => (bool) $this->sms_enabled,
            'digest' => $this->digest,
            'salutation' => $this->salutation,
            'max_per_day' => (int) $this->max_per_day,
            'quiet_hours' => $this->quietHours(),
        ];
    }
}
