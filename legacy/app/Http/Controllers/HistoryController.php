<?php

namespace App\Http\Controllers;

use App\Models\Merchant;
use App\Services\TransactionHistory;
use Illuminate\Http\Request;

class HistoryController extends Controller
{
    public function index(Request $request, TransactionHistory $history)
    {
        $filters = $history->filters($request->query());
        $number = $this->pageNumber($request);
        $page = $history->page($request->user()->id, $filters, $number);

        return view('history', $page + compact('filters', 'number') + [
            'kinds' => TransactionHistory::KINDS,
            'merchants' => Merchant::choices(),
            'last' => $this->lastPage($page['total'], TransactionHistory::PER_PAGE),
        ]);
    }

    public function apiIndex(Request $request, TransactionHistory $history)
    {
        $number = $this->pageNumber($request);
        $page = $history->page($request->user()->id, $history->filters($request->query()), $number);

        return $this->json([
            'data' => $page['rows'],
            'page' => $number,
            'per_page' => TransactionHistory::PER_PAGE,
            'total' => $page['total'],
            'amount' => $page['amount'],
        ]);
    }
}
