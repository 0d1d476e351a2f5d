@extends('layouts.app')
@section('title', 'No more mails')
@section('width', 'narrow')
@section('content')
<h1>You are unsubscribed</h1>
<p class="card">We will not mail any notifications to <b>{{ $email }}</b> any more. In your account, under
    <a href="/notifications/preferences">preferences</a>, you can change your mind.</p>
@endsection
