<!doctype html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
@if (app('session')->isStarted())
    <meta name="csrf-token" content="{{ csrf_token() }}">
@endif
    <title>@yield('title') – {{ config('app.name') }}</title>
    <link rel="stylesheet" href="/css/app.css">
</head>
<body>
<header>
    <div>
        <a class="brand" href="/home">{{ config('app.name') }}</a>
@if (Auth::hasUser())
        <nav>
@foreach (['home' => 'Overview', 'payments' => 'Payments', 'history' => 'History', 'notifications' => 'Notifications'] as $path => $label)
            <a href="/{{ $path }}"@if (request()->is($path, $path.'/*')) class="here"@endif>{{ $label }}</a>
@endforeach
        </nav>
        <span class="who">{{ Auth::user()->name }}</span>
        <form class="inline" method="post" action="/logout">@csrf<button class="link">Log out</button></form>
@endif
    </div>
</header>
<main class="@yield('width')">
@if (session('status'))
    <div class="message">{{ session('status') }}</div>
@endif
@yield('content')
</main>
<footer>FinTech Connect GmbH · Berlin</footer>
</body>
</html>
