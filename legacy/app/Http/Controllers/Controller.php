<?php

namespace App\Http\Controllers;

use App\Services\NotificationCenter;
use Illuminate\Foundation\Validation\ValidatesRequests;
use Illuminate\Http\Request;
use Illuminate\Routing\Controller as BaseController;

abstract class Controller extends BaseController
{
    use ValidatesRequests;

    protected function center(): NotificationCenter
    {
        return app(NotificationCenter::class);
    }

    /** ?page=, where anything that is not a page counts as the first. */
    protected function pageNumber(Request $request): int
    {
        $page = $request->query('page');

        return is_string($page) && ctype_digit($page) ? min(max(1, (int) $page), 1000000) : 1;
    }

    protected function lastPage(int $total, int $perPage): int
    {
        return max(1, (int) ceil($total / $perPage));
    }

    protected function json($data, int $status = 200)
    {
        return response()->json($data, $status, [], JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
    }
}
