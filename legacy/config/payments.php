<?php

return [
    'provider_url' => rtrim(env('PROVIDER_URL', 'http://127.0.0.1:9300'), '/'),
    'currencies' => ['EUR'],
    'amount_max' => 10000,
];
