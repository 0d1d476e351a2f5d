<?php

namespace App\Services;

use App\Models\Notification;
use App\Models\NotificationPreference;
use App\Models\User;
use Illuminate\Support\Facades\DB;

/**
 * Everything about in-app notifications. Every write that a customer makes leaves one row in
 * notification_activity, in the same transaction (support wants to see who clicked what).
 */
class NotificationCenter
{
    const PER_PAGE = 20;

    public function query(int $userId, bool $unreadOnly = false)
    {
        $query = Notification::where('user_id', $userId);

        return $unreadOnly ? $query->unread() : $query;
    }

    public function page(int $userId, bool $unreadOnly, int $page): array
    {
        $query = $this->query($userId, $unreadOnly);
        $total = $query->count();

        return [
            'rows' => $query->orderByDesc('id')->forPage($page, self::PER_PAGE)->get(),
            'total' => $total,
            'unread' => $unreadOnly ? $total : $this->unreadCount($userId),
        ];
    }

    public function unreadCount(int $userId): int
    {
        return $this->query($userId, true)->count();
    }

    /** Null where the user has no such notification. */
    public function markRead(int $userId, $id, ?string $clientRef): ?Notification
    {
        return DB::transaction(function () use ($userId, $id, $clientRef) {
            $notification = $this->query($userId)->find($id);
            if (! $notification) {
                return null;
            }
            if (! $notification->is_read) {
                $notification->update(['is_read' => 1, 'read_at' => now()->toDateTimeString()]);
            }
            $this->log($userId, $notification->id, 'read', $clientRef);

            return $notification;
        });
    }

    public function markAllRead(int $userId, ?string $clientRef): int
    {
        return DB::transaction(function () use ($userId, $clientRef) {
            // By id: an update by user_id would wait for the row of a payment that is still in flight.
            $ids = $this->query($userId, true)->pluck('id')->all();
            $now = now()->toDateTimeString();
            $updated = $ids ? Notification::whereIn('id', $ids)->unread()->update(['is_read' => 1, 'read_at' => $now]) : 0;
            $this->log($userId, null, 'read_all', $clientRef);

            return $updated;
        });
    }

    public function delete(int $userId, $id, ?string $clientRef): bool
    {
        return DB::transaction(function () use ($userId, $id, $clientRef) {
            $notification = $this->query($userId)->find($id);
            // Of two clicks at once only one deletes.
            if (! $notification || ! Notification::whereKey($notification->id)->delete()) {
                return false;
            }
            $this->log($userId, $notification->id, 'delete', $clientRef);

            return true;
        });
    }

    public function remind(int $userId, string $title, ?string $body, ?string $clientRef): Notification
    {
        return DB::transaction(function () use ($userId, $title, $body, $clientRef) {
            $notification = $this->notify($userId, 'reminder', $title, $body);
            $this->log($userId, $notification->id, 'reminder', $clientRef);

            return $notification;
        });
    }

    /** Puts a notification into the user's list; mailed later by `artisan mail:work` unless unwanted. */
    public function notify(int $userId, string $type, string $title, ?string $body = null, ?array $data = null, bool $mail = true): Notification
    {
        $mail = $mail && NotificationPreference::of($userId)->email_enabled;

        return Notification::create([
            'user_id' => $userId, 'type' => $type, 'title' => $title, 'body' => $body,
            'data' => $data === null ? null : json_encode($data, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES),
            'priority' => $type === 'security' ? 10 : 0,
            'is_read' => 0, 'mail_state' => $mail ? 'pending' : 'none', 'trace' => $this->trace(),
        ]);
    }

    /** The W3C trace context of the request, for whoever goes on with what the row leads to; null outside one. */
    private function trace(): ?string
    {
        $trace = request()->header('traceparent');

        return is_string($trace) && preg_match('/^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/D', $trace) ? $trace : null;
    }

    public function savePreferences(int $userId, array $changes, ?string $clientRef, string $action = 'preferences'): NotificationPreference
    {
        if (isset($changes['quiet_hours'])) {
            $changes['quiet_hours'] = json_encode($changes['quiet_hours']);
        }

        return DB::transaction(function () use ($userId, $changes, $clientRef, $action) {
            $preference = NotificationPreference::of($userId);
            $preference->fill($changes);
            if ($preference->exists) {
                $preference->save();
            } else {
                // Another request may be inserting the same row.
                $now = now()->toDateTimeString();
                $row = $preference->getAttributes() + ['created_at' => $now, 'updated_at' => $now];
                NotificationPreference::upsert([$row], ['user_id'], array_keys($changes));
            }
            $this->log($userId, null, $action, $clientRef);

            return $preference;
        }, 3);
    }

    /** The token of the link in our mails, so that nobody can unsubscribe somebody else. */
    public function unsubscribeToken(string $email): string
    {
        return hash_hmac('sha256', mb_strtolower($email), app('encrypter')->getKey());
    }

    public function unsubscribeUrl(string $email): string
    {
        return config('app.url').'/unsubscribe?'.http_build_query(['email' => $email, 'token' => $this->unsubscribeToken($email)]);
    }

    /** The user whom an unsubscribe link is for, null where it is not genuine. */
    public function userOfLink(?string $email, ?string $token): ?User
    {
        if ($email === null || ! hash_equals($this->unsubscribeToken($email), (string) $token)) {
            return null;
        }

        return User::where('email', $email)->first();
    }

    protected function log(int $userId, ?int $notificationId, string $action, ?string $clientRef): void
    {
        DB::table('notification_activity')->insert([
            'user_id' => $userId, 'notification_id' => $notificationId, 'action' => $action, 'client_ref' => $clientRef,
            'created_at' => now()->toDateTimeString(),
        ]);
    }
}
