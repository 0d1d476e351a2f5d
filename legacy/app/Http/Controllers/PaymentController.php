<?php

namespace App\Http\Controllers;

use App\Exceptions\PaymentFailed;
use App\Models\Merchant;
use App\Models\Payment;
use App\Services\PaymentService;
use App\Support\Money;
use Illuminate\Http\Request;
use Illuminate\Support\Str;

class PaymentController extends Controller
{
    const PER_PAGE = 20;

    public function index(Request $request)
    {
        return view('payments.index', $this->page($request));
    }

    public function create()
    {
        return view('payments.new', ['merchants' => Merchant::choices(), 'currencies' => config('payments.currencies')]);
    }

    public function store(Request $request)
    {
        try {
            $payment = $this->pay($request);
        } catch (PaymentFailed $e) {
            $message = $e->declined
                ? 'Your payment was declined.'
                : 'Payments do not work at the moment. You have not been charged; please try again later.';

            return redirect('/payments/new')->withInput()->withErrors(['payment' => $message]);
        }

        return redirect('/payments')->with('status', 'You paid '.Money::show($payment->amount, $payment->currency).' to '.$payment->merchant->name.'.');
    }

    public function apiIndex(Request $request)
    {
        $page = $this->page($request);

        return $this->json([
            'data' => $page['payments']->map->toApi(),
            'page' => $page['number'],
            'per_page' => self::PER_PAGE,
            'total' => $page['total'],
        ]);
    }

    public function apiStore(Request $request)
    {
        try {
            return $this->json($this->pay($request)->toApi(), 201);
        } catch (PaymentFailed $e) {
            return $e->declined
                ? $this->json(['message' => 'The payment was declined.'], 402)
                : $this->json(['message' => 'The payment provider is not available.'], 502);
        }
    }

    private function page(Request $request): array
    {
        $number = $this->pageNumber($request);
        $query = Payment::where('user_id', $request->user()->id);
        $total = $query->count();
        $payments = $query->with('merchant')->orderByDesc('id')->forPage($number, self::PER_PAGE)->get();

        return compact('payments', 'total', 'number') + ['last' => $this->lastPage($total, self::PER_PAGE)];
    }

    private function pay(Request $request): Payment
    {
        $input = $request->validate([
            'merchant_id' => 'required|integer|exists:merchants,id,is_active,1',
            'amount' => ['required', 'numeric', 'regex:/^\d{1,8}(\.\d{1,2})?$/', 'min:0.01', 'max:'.config('payments.amount_max')],
            'currency' => 'sometimes|in:'.implode(',', config('payments.currencies')),
            'reference' => 'nullable|string|max:80',
        ]);

        return app(PaymentService::class)->pay([
            'user_id' => $request->user()->id,
            'merchant_id' => (int) $input['merchant_id'],
            'amount' => Money::normalize($input['amount']),
            'currency' => $input['currency'] ?? 'EUR',
            'reference' => $input['reference'] ?? 'FC-'.strtoupper(Str::random(10)),
        ]);
    }
}
