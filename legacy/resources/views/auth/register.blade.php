@extends('layouts.app')
@section('title', 'Open an account')
@section('width', 'narrow')
@section('content')
<h1>Open an account</h1>
<form class="card" method="post" action="/register">
    @csrf
    <label for="name">Your name</label>
    <input id="name" name="name" value="{{ old('name') }}" maxlength="100" autocomplete="name" required autofocus> @include('partials.error', ['field' => 'name'])
    <label for="email">E-mail address</label>
    <input id="email" name="email" type="email" value="{{ old('email') }}" maxlength="190" autocomplete="username" required> @include('partials.error', ['field' => 'email'])
    <label for="phone">Phone <span class="soft">(optional)</span></label>
    <input id="phone" name="phone" type="tel" value="{{ old('phone') }}" maxlength="40" autocomplete="tel"> @include('partials.error', ['field' => 'phone'])
    <label for="password">Password <span class="soft">(at least 6 characters)</span></label>
    <input id="password" name="password" type="password" minlength="6" maxlength="72" autocomplete="new-password" required> @include('partials.error', ['field' => 'password'])
    <label for="password_confirmation">Password again</label>
    <input id="password_confirmation" name="password_confirmation" type="password" autocomplete="new-password" required>
    <button>Open the account</button>
</form>
<p class="soft">Already a customer? <a href="/login">Log in</a></p>
@endsection
