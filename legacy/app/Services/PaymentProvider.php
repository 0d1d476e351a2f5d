<?php

namespace App\Services;

use App\Exceptions\PaymentFailed;

/** The acquirer's HTTP API. */
class PaymentProvider
{
    /** Captures the amount and returns the provider's id of the charge. */
    public function charge(string $amount, string $currency, string $reference): string
    {
        $context = stream_context_create(['http' => [
            'method' => 'POST',
            'header' => "Content-Type: application/json\r\nAccept: application/json\r\nConnection: close",
            'content' => json_encode(compact('amount', 'currency', 'reference')),
            'ignore_errors' => true,
            // As long as it takes: 3-D Secure at some banks is slow, and PHP's default gave up on good payments.
            'timeout' => -1,
        ]]);
        $body = @file_get_contents(config('payments.provider_url').'/charges', false, $context);
        if ($body === false || ! isset($http_response_header[0])) {
            throw new PaymentFailed('no answer from the payment provider');
        }
        $status = (int) (explode(' ', $http_response_header[0])[1] ?? 0);
        if ($status === 402) {
            throw new PaymentFailed("the payment provider declined $reference", true);
        }
        $id = json_decode($body, true)['id'] ?? null;
        if ($status < 200 || $status > 299 || ! is_string($id)) {
            throw new PaymentFailed("the payment provider answered $status");
        }

        return $id;
    }
}
