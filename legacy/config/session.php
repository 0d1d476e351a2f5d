<?php

return [
    'driver' => 'database',
    'lifetime' => 120,
    'expire_on_close' => false,
    'table' => 'sessions',
    'lottery' => [2, 100],
    'cookie' => 'fintech_connect_session',
    'path' => '/',
    'domain' => null,
    'secure' => env('SESSION_SECURE_COOKIE'),
    'http_only' => true,
    'same_site' => 'lax',
];
