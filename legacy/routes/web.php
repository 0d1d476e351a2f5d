<?php

use App\Http\Controllers\AuthController;
use App\Http\Controllers\HistoryController;
use App\Http\Controllers\HomeController;
use App\Http\Controllers\NotificationController;
use App\Http\Controllers\PaymentController;
use Illuminate\Support\Facades\Route;

Route::redirect('/', '/home');

Route::middleware('guest')->group(function () {
    Route::get('/login', [AuthController::class, 'showLogin'])->name('login');
    Route::post('/login', [AuthController::class, 'login']);
    Route::get('/register', [AuthController::class, 'showRegister']);
    Route::post('/register', [AuthController::class, 'register']);
});

Route::get('/unsubscribe', [NotificationController::class, 'unsubscribeForm']);

Route::middleware('auth')->group(function () {
    Route::post('/logout', [AuthController::class, 'logout']);
    Route::get('/home', [HomeController::class, 'index']);

    Route::get('/payments', [PaymentController::class, 'index']);
    Route::get('/payments/new', [PaymentController::class, 'create']);
    Route::post('/payments', [PaymentController::class, 'store']);
    Route::get('/history', [HistoryController::class, 'index']);

    Route::get('/notifications', [NotificationController::class, 'index']);
    Route::get('/notifications/preferences', [NotificationController::class, 'preferences']);
    Route::post('/notifications/preferences', [NotificationController::class, 'savePreferences']);
    Route::post('/notifications/read-all', [NotificationController::class, 'readAll']);
    Route::post('/notifications/reminders', [NotificationController::class, 'remind']);
    Route::post('/notifications/{id}/read', [NotificationController::class, 'read'])->where('id', '[0-9]+');
    Route::post('/notifications/{id}/delete', [NotificationController::class, 'destroy'])->where('id', '[0-9]+');
});
