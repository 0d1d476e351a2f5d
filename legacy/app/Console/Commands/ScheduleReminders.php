<?php

namespace App\Console\Commands;

use App\Services\NotificationCenter;
use App\Support\Money;
use App\Traits\RunsUntilStopped;
use Illuminate\Console\Command;
use Illuminate\Database\QueryException;
use Illuminate\Support\Facades\DB;

/** Writes reminders and summaries for two users at a time, round and round through all of them. */
class ScheduleReminders extends Command
{
    use RunsUntilStopped;

    const USERS_PER_ROUND = 2;

    protected $signature = 'reminders:schedule {--every=60 : Seconds between two rounds}';

    protected $description = 'Write reminders until SIGTERM';

    private int $lastUser = 0;

    public function handle(NotificationCenter $center)
    {
        $every = (float) $this->option('every');
        if ($every < 0.1 || $every > 86400) {
            $this->error('--every must be from 0.1 to 86400 seconds');

            return 1;
        }

        return $this->runUntilStopped((int) ($every * 1000), fn () => $this->round($center));
    }

    private function round(NotificationCenter $center): void
    {
        $users = $this->nextUsers();
        if ($users->isEmpty() && $this->lastUser > 0) {
            $this->lastUser = 0;
            $users = $this->nextUsers();
        }
        foreach ($users as $user) {
            $this->lastUser = $user->id;
            try {
                $this->remind($center, $user);
            } catch (QueryException $e) {
                $this->complain($e, "no reminder for user {$user->id}:");
            }
        }
    }

    private function nextUsers()
    {
        return DB::table('users')->where('id', '>', $this->lastUser)->whereNull('deleted_at')
            ->orderBy('id')->limit(self::USERS_PER_ROUND)->get(['id', 'kyc_level']);
    }

    private function remind(NotificationCenter $center, object $user): void
    {
        if ($user->kyc_level === 'none') {
            $center->notify($user->id, 'reminder', 'Please verify your identity', 'It takes two minutes, and lifts the limit of your payments.');
        } else {
            $spent = DB::table('transactions')->where('user_id', $user->id)->where('created_at', '>=', now()->startOfMonth()->toDateTimeString())->sum('amount');
            $center->notify($user->id, 'reminder', 'Your month so far', 'You spent '.Money::show($spent).' this month.', ['amount' => Money::normalize($spent)]);
        }
    }
}
