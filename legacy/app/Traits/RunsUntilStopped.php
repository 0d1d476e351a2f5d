<?php

namespace App\Traits;

use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Log;
use Throwable;

/** The loop of our background commands: goes on through failures, ends at SIGTERM between two rounds. */
trait RunsUntilStopped
{
    protected bool $stopped = false;

    /** Runs rounds with so many milliseconds between them; after failures the pause grows up to 5 s. */
    protected function runUntilStopped(int $pauseMs, callable $round): int
    {
        pcntl_async_signals(true);
        foreach ([SIGTERM, SIGINT] as $signal) {
            pcntl_signal($signal, function () {
                $this->stopped = true;
            });
        }
        $failures = 0;
        while (! $this->stopped) {
            try {
                $round();
                $failures = 0;
            } catch (Throwable $e) {
                $failures++;
                $this->complain($e);
                DB::disconnect();
            }
            $this->pause($failures ? min(5000, 200 * 2 ** min($failures - 1, 8)) : $pauseMs);
        }

        return 0;
    }

    protected function complain(Throwable $e, string $what = ''): void
    {
        $message = trim($what.' '.mb_strimwidth($e->getMessage(), 0, 300, '…'));
        Log::warning($this->getName().': '.$message);
        $this->warn(now()->toDateTimeString().' '.$message);
    }

    /** Sleeps, a little at a time, so that SIGTERM is not kept waiting. */
    protected function pause(int $ms): void
    {
        for ($left = $ms; $left > 0 && ! $this->stopped; $left -= 50) {
            usleep(min($left, 50) * 1000);
        }
    }
}
