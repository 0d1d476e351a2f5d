<?php

$app = new Illuminate\Foundation\Application(dirname(__DIR__));

// The code may be read-only; then APP_STORAGE names a writable folder made like storage/.
if ($storage = $_SERVER['APP_STORAGE'] ?? getenv('APP_STORAGE')) {
    $app->useStoragePath($storage);
}
foreach (['services', 'packages', 'config', 'routes', 'events'] as $cache) {
    $_SERVER['APP_'.strtoupper($cache).'_CACHE'] = $app->storagePath().'/framework/'.$cache.'.php';
}

$app->singleton(Illuminate\Contracts\Http\Kernel::class, App\Http\Kernel::class);
$app->singleton(Illuminate\Contracts\Console\Kernel::class, App\Console\Kernel::class);
$app->singleton(Illuminate\Contracts\Debug\ExceptionHandler::class, Illuminate\Foundation\Exceptions\Handler::class);

return $app;
