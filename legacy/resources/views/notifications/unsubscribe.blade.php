@extends('layouts.app')
@section('title', 'No more mails')
@section('width', 'narrow')
@section('content')
<h1>No more mails?</h1>
<form class="card" method="post" action="/unsubscribe">
    <p>We will not mail any notifications to <b>{{ $email }}</b> any more. You will still find them in your account.</p>
    <input type="hidden" name="email" value="{{ $email }}">
    <input type="hidden" name="token" value="{{ $token }}">
    <button>Stop the mails</button>
</form>
@endsection
