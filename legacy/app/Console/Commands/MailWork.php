<?php

namespace App\Console\Commands;

use App\Models\NotificationPreference;
use App\Services\NotificationCenter;
use App\Traits\RunsUntilStopped;
use Illuminate\Console\Command;
use Illuminate\Database\QueryException;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Mail;
use RuntimeException;
use Swift_Preferences;
use Throwable;

/**
 * Mails pending notifications. A row is claimed before it is mailed, so that several workers can run and
 * none mails twice: one that dies in between leaves its row claimed, and the mail is never sent.
 */
class MailWork extends Command
{
    use RunsUntilStopped;

    const BATCH = 50;

    /** A row that could not be claimed is let alone for so many seconds. */
    const REFUSED_SECONDS = 5;

    protected $signature = 'mail:work';

    protected $description = 'Mail pending notifications until SIGTERM';

    private NotificationCenter $center;

    /** @var array<int, float> until when rows are let alone */
    private array $refused = [];

    public function handle(NotificationCenter $center)
    {
        $this->center = $center;
        // Our mails are small: nothing is parked in files.
        Swift_Preferences::getInstance()->setCacheType('array');

        return $this->runUntilStopped(150, fn () => $this->round());
    }

    private function round(): void
    {
        $now = microtime(true);
        $this->refused = array_filter($this->refused, fn ($until) => $until > $now);
        $ids = DB::table('notifications')
            ->where('mail_state', 'pending')
            ->whereNull('deleted_at')
            ->whereNotIn('id', array_keys($this->refused))
            ->orderBy('id')->limit(self::BATCH)->pluck('id');
        if ($ids->isEmpty()) {
            return;
        }
        // Nothing is claimed that could not be sent.
        if (! $this->transport()->ping()) {
            throw new RuntimeException('the SMTP server cannot be reached');
        }
        foreach ($ids as $id) {
            if ($this->stopped) {
                return;
            }
            if ($this->claim($id)) {
                $this->finish($id, $this->deliver($id));
            } else {
                $this->refused[$id] = microtime(true) + self::REFUSED_SECONDS;
            }
        }
    }

    private function claim(int $id): bool
    {
        try {
            return DB::update("UPDATE notifications SET mail_state = 'claimed' WHERE id = ? AND mail_state = 'pending'", [$id]) === 1;
        } catch (QueryException $e) {
            $this->complain($e, "notification $id cannot be claimed:");

            return false;
        }
    }

    /** What becomes of a claimed notification: sent, skipped or failed. */
    private function deliver(int $id): string
    {
        try {
            $row = DB::table('notifications as n')->join('users as u', 'u.id', '=', 'n.user_id')
                ->where('n.id', $id)->whereNull('n.deleted_at')->whereNull('u.deleted_at')
                ->first(['n.id', 'n.user_id', 'n.title', 'n.body', 'u.email', 'u.name']);
            if (! $row) {
                return 'skipped';
            }
            $preference = NotificationPreference::of($row->user_id);
            $today = DB::table('notifications')->where('user_id', $row->user_id)->where('mail_state', 'sent')
                ->where('mailed_at', '>=', now()->startOfDay()->toDateTimeString())->count();
            if ($today >= $preference->max_per_day) {
                return 'skipped';
            }
            $this->send($row, $preference);

            return 'sent';
        } catch (Throwable $e) {
            $this->complain($e, "notification $id cannot be mailed:");
            $this->transport()->stop();

            return 'failed';
        }
    }

    private function send(object $row, NotificationPreference $preference): void
    {
        $data = [
            'notification' => $row,
            'salutation' => 'Hello '.($preference->salutation ?? $row->name),
            'unsubscribeUrl' => $this->center->unsubscribeUrl($row->email),
        ];
        Mail::send(['text' => 'mail.notification'], $data, function ($message) use ($row) {
            $message->to($row->email)->subject($row->title);
            $message->getHeaders()->addTextHeader('X-Notification-Id', (string) $row->id);
        });
    }

    /** Writes down what became of it. The mail is out, so that a failing database is asked again. */
    private function finish(int $id, string $state): void
    {
        $values = ['mail_state' => $state] + ($state === 'sent' ? ['mailed_at' => now()->toDateTimeString()] : []);
        for ($try = 1; ; $try++) {
            try {
                DB::table('notifications')->where('id', $id)->where('mail_state', 'claimed')->update($values);

                return;
            } catch (QueryException $e) {
                $this->complain($e, "notification $id stays claimed, but is $state:");
                if ($try === 10) {
                    return;
                }
                usleep(min(3000, 50 * 2 ** $try) * 1000);
            }
        }
    }

    private function transport()
    {
        return Mail::mailer()->getSwiftMailer()->getTransport();
    }
}
