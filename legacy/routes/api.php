<?php

// The mobile app logs in with the web form and uses the same cookies: session and CSRF apply here too.

use App\Http\Controllers\Api\NotificationController;
use App\Http\Controllers\HistoryController;
use App\Http\Controllers\PaymentController;
use Illuminate\Support\Facades\Route;

Route::middleware('auth')->group(function () {
    Route::get('/payments', [PaymentController::class, 'apiIndex']);
    Route::post('/payments', [PaymentController::class, 'apiStore']);
    Route::get('/history', [HistoryController::class, 'apiIndex']);

    Route::get('/notifications', [NotificationController::class, 'index']);
    Route::post('/notifications', [NotificationController::class, 'store']);
    Route::get('/notifications/unread-count', [NotificationController::class, 'unreadCount']);
    Route::post('/notifications/read-all', [NotificationController::class, 'readAll']);
    Route::post('/notifications/{id}/read', [NotificationController::class, 'read'])->where('id', '[0-9]+');
    Route::delete('/notifications/{id}', [NotificationController::class, 'destroy'])->where('id', '[0-9]+');
    Route::get('/notification-preferences', [NotificationController::class, 'preferences']);
    Route::put('/notification-preferences', [NotificationController::class, 'savePreferences']);
});
