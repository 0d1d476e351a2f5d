<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Eloquent\SoftDeletes;

class Notification extends Model
{
    use SoftDeletes;

    protected $guarded = ['id'];

    public function scopeUnread($query)
    {
        return $query->where('is_read', 0);
    }

    /**
     * What the mobile app gets. Date-times go out as they are stored, and `data` as it was put in:
     * decoded to objects, since {} must not become [].
     */
    public function toApi(): array
    {
        return [
            'id' => (int) $this->id,
            'type' => $this->type,
            'title' => $this->title,
            'body' => $this->body,
            'data' => isset($this->attributes['data']) ? json_decode($this->attributes['data']) : null,
            'priority' => (int) $this->priority,
            'is_read' => (bool) $this->is_read,
            'read_at' => $this->attributes['read_at'] ?? null,
            'mail_state' => $this->mail_state,
            'created_at' => $this->attributes['created_at'],
        ];
    }
}
