<?php

namespace App\Providers;

use App\Http\Controllers\NotificationController;
use Illuminate\Foundation\Support\Providers\RouteServiceProvider as ServiceProvider;
use Illuminate\Support\Facades\Route;

class RouteServiceProvider extends ServiceProvider
{
    public function boot()
    {
        $this->routes(function () {
            // Links in mails are opened without cookies, and must not start a session.
            Route::post('/unsubscribe', [NotificationController::class, 'unsubscribe']);
            Route::prefix('api')->middleware('web')->group(base_path('routes/api.php'));
            Route::middleware('web')->group(base_path('routes/web.php'));
        });
    }
}
