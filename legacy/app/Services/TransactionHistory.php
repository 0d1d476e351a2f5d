<?php

namespace App\Services;

use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Validator;

/** What the history page and the API show: the user's transactions, filtered. */
class TransactionHistory
{
    const PER_PAGE = 25;

    const KINDS = ['payment', 'fee', 'adjustment'];

    /** The filters of a query string that make sense; the others are ignored, as bookmarks may hold anything. */
    public function filters(array $query): array
    {
        $checked = Validator::make($query, [
            'kind' => 'in:'.implode(',', self::KINDS),
            'merchant' => 'integer|min:1',
            'from' => 'date_format:Y-m-d',
            'to' => 'date_format:Y-m-d',
        ]);

        return array_intersect_key($checked->valid(), array_flip(['kind', 'merchant', 'from', 'to']));
    }

    public function page(int $userId, array $filters, int $number): array
    {
        $query = DB::table('transactions as t')->where('t.user_id', $userId);
        foreach (['kind' => 't.kind', 'merchant' => 't.merchant_id'] as $filter => $column) {
            if (isset($filters[$filter])) {
                $query->where($column, $filters[$filter]);
            }
        }
        if (isset($filters['from'])) {
            $query->where('t.created_at', '>=', $filters['from'].' 00:00:00');
        }
        if (isset($filters['to'])) {
            $query->where('t.created_at', '<=', $filters['to'].' 23:59:59');
        }
        $sums = (clone $query)->selectRaw('COUNT(*) AS total, COALESCE(SUM(t.amount), 0) AS amount')->first();
        $rows = $query->leftJoin('merchants as m', 'm.id', '=', 't.merchant_id')
            ->leftJoin('payments as p', 'p.id', '=', 't.payment_id')
            ->select('t.id', 't.payment_id', 'm.name as merchant', 't.kind', 't.amount', 'p.reference', 't.created_at')
            ->orderByDesc('t.created_at')->orderByDesc('t.id')
            ->forPage($number, self::PER_PAGE)
            ->get();

        return ['rows' => $rows, 'total' => (int) $sums->total, 'amount' => $sums->amount];
    }
}
