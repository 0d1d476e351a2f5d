<?php

namespace App\Providers;

use App\Services\NotificationCenter;
use App\Support\AtomicFilesystem;
use App\Support\Money;
use Illuminate\Support\Facades\Validator;
use Illuminate\Support\ServiceProvider;

class AppServiceProvider extends ServiceProvider
{
    public function register()
    {
        $this->app->singleton('files', fn () => new AtomicFilesystem);
        $this->app->singleton(NotificationCenter::class);
    }

    public function boot()
    {
        $this->callAfterResolving('validator', function () {
            // notification_preferences.salutation is latin1, which for MySQL is Windows-1252.
            Validator::extend('latin1', function ($attribute, $value) {
                return ! is_string($value)
                    || mb_convert_encoding(mb_convert_encoding($value, 'Windows-1252', 'UTF-8'), 'UTF-8', 'Windows-1252') === $value;
            });
        });

        $this->callAfterResolving('blade.compiler', function ($blade) {
            $blade->directive('money', fn ($expression) => '<?php echo e('.Money::class."::show($expression)); ?>");
        });
    }
}
