@if ($payments->isEmpty())
<p class="soft">There are no payments yet.</p>
@else
<table>
    <tr><th>Date</th><th>Merchant</th><th>Reference</th><th>Status</th><th class="amount">Amount</th></tr>
@foreach ($payments as $payment)
    <tr>
        <td>{{ $payment->created_at->format('j M Y H:i') }}</td>
        <td>{{ $payment->merchant->name ?? '–' }}</td>
        <td class="soft">{{ $payment->reference ?? '–' }}</td>
        <td><span class="badge {{ $payment->status }}">{{ $payment->status }}</span></td>
        <td class="amount">@money($payment->amount, $payment->currency)</td>
    </tr>
@endforeach
</table>
@endif
