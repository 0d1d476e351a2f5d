@extends('layouts.app')
@section('title', 'History')
@section('content')
<h1>Transaction history</h1>
<form class="card filters" method="get" action="/history">
    <div>
        <label for="kind">Kind</label>
        <select id="kind" name="kind">
            <option value="">All</option>
@foreach ($kinds as $kind)
            <option value="{{ $kind }}"@if (($filters['kind'] ?? '') === $kind) selected @endif>{{ ucfirst($kind) }}</option>
@endforeach
        </select>
    </div>
    <div>
        <label for="merchant">Merchant</label>
        <select id="merchant" name="merchant">
            <option value="">All</option>
@foreach ($merchants as $merchant)
            <option value="{{ $merchant->id }}"@if (($filters['merchant'] ?? '') == $merchant->id) selected @endif>{{ $merchant->name }}</option>
@endforeach
        </select>
    </div>
    <div><label for="from">From</label><input id="from" name="from" type="date" value="{{ $filters['from'] ?? '' }}"></div>
    <div><label for="to">To</label><input id="to" name="to" type="date" value="{{ $filters['to'] ?? '' }}"></div>
    <button>Show</button>
</form>
<section class="card">
    <p class="soft">{{ $total }} transactions, @money($amount) in all</p>
@if ($rows->isNotEmpty())
    <table>
        <tr><th>Date</th><th>Merchant</th><th>Kind</th><th>Reference</th><th class="amount">Amount</th></tr>
@foreach ($rows as $row)
        <tr>
            <td>{{ $row->created_at }}</td>
            <td>{{ $row->merchant ?? '–' }}</td>
            <td><span class="badge">{{ $row->kind }}</span></td>
            <td class="soft">{{ $row->reference ?? '–' }}</td>
            <td class="amount">@money($row->amount)</td>
        </tr>
@endforeach
    </table>
@endif
</section>
@include('partials.pages')
@endsection
