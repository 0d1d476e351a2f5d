<?php

return [
    'default' => 'smtp',
    'mailers' => [
        'smtp' => [
            'transport' => 'smtp',
            'host' => env('MAIL_HOST', '127.0.0.1'),
            'port' => env('MAIL_PORT', 25),
            'timeout' => 30,
        ],
    ],
    'from' => ['address' => env('MAIL_FROM_ADDRESS', 'noreply@fintech-connect.example'), 'name' => 'FinTech Connect'],
];
