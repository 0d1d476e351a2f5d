<?php

namespace App\Services;

use App\Exceptions\PaymentFailed;
use App\Models\Merchant;
use App\Models\Payment;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Log;

class PaymentService
{
    private PaymentProvider $provider;

    private NotificationCenter $notifications;

    public function __construct(PaymentProvider $provider, NotificationCenter $notifications)
    {
        $this->provider = $provider;
        $this->notifications = $notifications;
    }

    /**
     * Pays what the columns of the payment say; throws PaymentFailed once the failed payment is written down.
     */
    public function pay(array $columns): Payment
    {
        $merchant = Merchant::findOrFail($columns['merchant_id']);
        try {
            // One attempt: a second one would charge the customer again.
            return DB::transaction(fn () => $this->capture($columns, $merchant), 1);
        } catch (PaymentFailed $e) {
            Log::log($e->declined ? 'info' : 'error', "payment {$columns['reference']}: ".$e->getMessage());
            DB::transaction(fn () => $this->fail($columns, $merchant, $e->declined));

            throw $e;
        }
    }

    private function capture(array $columns, Merchant $merchant): Payment
    {
        $payment = Payment::create($columns + ['status' => 'pending'])->setRelation('merchant', $merchant);
        $this->notify($payment, "Payment to {$merchant->name} is being processed", null, false);

        $payment->provider_id = $this->provider->charge($payment->amount, $payment->currency, $payment->reference);
        $payment->status = 'captured';
        $payment->save();
        DB::table('transactions')->insert([
            'payment_id' => $payment->id, 'user_id' => $payment->user_id, 'merchant_id' => $merchant->id,
            'kind' => 'payment', 'amount' => $payment->amount, 'created_at' => now()->toDateTimeString(),
        ]);
        $title = "Payment of {$payment->amount} {$payment->currency} to {$merchant->name} captured";
        $this->notify($payment, $title, 'Reference: '.$payment->reference);

        // Last, since every payment to this merchant waits for the row.
        DB::update('UPDATE merchants SET balance = balance + ?, updated_at = ? WHERE id = ?', [$payment->amount, now()->toDateTimeString(), $merchant->id]);

        return $payment;
    }

    private function fail(array $columns, Merchant $merchant, bool $declined): void
    {
        $payment = Payment::create($columns + ['status' => 'failed']);
        $title = "Your payment to {$merchant->name} ".($declined ? 'was declined' : 'could not be made');
        $this->notify($payment, $title, "{$payment->amount} {$payment->currency}, reference {$payment->reference}. You have not been charged.");
    }

    private function notify(Payment $payment, string $title, ?string $body, bool $mail = true): void
    {
        $data = ['payment_id' => $payment->id, 'reference' => $payment->reference];
        $this->notifications->notify($payment->user_id, 'payment', $title, $body, $data, $mail);
    }
}
