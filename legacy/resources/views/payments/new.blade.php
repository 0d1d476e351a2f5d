@extends('layouts.app')
@section('title', 'New payment')
@section('width', 'narrow')
@section('content')
<h1>New payment</h1>
@error('payment')
<div class="message bad">{{ $message }}</div>
@enderror
<form class="card" method="post" action="/payments">
    @csrf
    <label for="merchant_id">To</label>
    <select id="merchant_id" name="merchant_id" required>
        <option value="">Please choose</option>
@foreach ($merchants as $merchant)
        <option value="{{ $merchant->id }}"@if (old('merchant_id') == $merchant->id) selected @endif>{{ $merchant->name }}</option>
@endforeach
    </select> @include('partials.error', ['field' => 'merchant_id'])
    <label for="amount">Amount</label>
    <input id="amount" name="amount" value="{{ old('amount') }}" inputmode="decimal" placeholder="12.00" required> @include('partials.error', ['field' => 'amount'])
    <label for="currency">Currency</label>
    <select id="currency" name="currency">
@foreach ($currencies as $currency)
        <option>{{ $currency }}</option>
@endforeach
    </select> @include('partials.error', ['field' => 'currency'])
    <label for="reference">Reference <span class="soft">(optional)</span></label>
    <input id="reference" name="reference" value="{{ old('reference') }}" maxlength="80"> @include('partials.error', ['field' => 'reference'])
    <button>Pay</button>
</form>
@endsection
