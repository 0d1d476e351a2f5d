@extends('layouts.app')
@section('title', 'Overview')
@section('content')
<h1>Hello {{ $user->name }}</h1>
<div class="columns">
    <section class="card">
        <h2>Spent this month</h2>
        <div class="big">@money($spent)</div>
        <p class="soft">
            @if ($user->lastLogin()) Last login {{ $user->lastLogin() }}. @else This is your first visit. @endif
            @if ($user->kyc_level === 'none') Your identity has not been verified yet. @endif
        </p>
        <a href="/payments/new">New payment</a>
    </section>
    <section class="card">
        <h2>Unread notifications</h2>
@forelse ($notifications as $notification)
        <div class="notification">
            <div class="text">{{ $notification->title }}<div class="soft">{{ $notification->created_at }}</div></div>
        </div>
@empty
        <p class="soft">You have read everything.</p>
@endforelse
        <a href="/notifications">All notifications</a>
    </section>
</div>
<section class="card">
    <h2>Your last payments</h2>
    @include('payments.table')
</section>
@endsection
