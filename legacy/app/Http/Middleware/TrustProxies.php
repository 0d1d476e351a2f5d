<?php

namespace App\Http\Middleware;

use Illuminate\Http\Middleware\TrustProxies as Middleware;

class TrustProxies extends Middleware
{
    /** The load balancer runs on the same machine. */
    protected $proxies = ['127.0.0.1', '::1'];
}
