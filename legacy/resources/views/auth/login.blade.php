@extends('layouts.app')
@section('title', 'Log in')
@section('width', 'narrow')
@section('content')
<h1>Log in</h1>
<form class="card" method="post" action="/login">
    @csrf
    <label for="email">E-mail address</label>
    <input id="email" name="email" type="email" value="{{ old('email') }}" autocomplete="username" required autofocus> @include('partials.error', ['field' => 'email'])
    <label for="password">Password</label>
    <input id="password" name="password" type="password" autocomplete="current-password" required> @include('partials.error', ['field' => 'password'])
    <button>Log in</button>
</form>
<p class="soft">New here? <a href="/register">Open an account</a></p>
@endsection
