<?php

namespace App\Console;

use App\Console\Commands\MailWork;
use App\Console\Commands\ScheduleReminders;
use App\Console\Commands\SeedShop;
use Illuminate\Foundation\Console\Kernel as ConsoleKernel;

class Kernel extends ConsoleKernel
{
    protected $commands = [
        MailWork::class,
        ScheduleReminders::class,
        SeedShop::class,
    ];
}
