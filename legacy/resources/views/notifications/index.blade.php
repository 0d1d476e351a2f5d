@extends('layouts.app')
@section('title', 'Notifications')
@section('content')
<div class="heading">
    <h1>Notifications</h1>
    <span class="soft">
        {{ $unread }} unread ·
        @if ($unreadOnly) <a href="/notifications">Show all</a> @else <a href="/notifications?unread=1">Show unread only</a> @endif
        · <a href="/notifications/preferences">Preferences</a>
    </span>
</div>
<section class="card">
@forelse ($rows as $notification)
    <div class="notification{{ $notification->is_read ? '' : ' unread' }}">
        <div class="text">
            <div class="title">{{ $notification->title }}</div>
@if ($notification->body !== null)
            <div>{!! nl2br(e($notification->body)) !!}</div>
@endif
            <div class="soft"><span class="badge {{ $notification->type }}">{{ $notification->type }}</span> {{ $notification->created_at }}</div>
        </div>
        <div class="actions">
@unless ($notification->is_read)
            <form class="inline" method="post" action="/notifications/{{ $notification->id }}/read">@csrf<button class="link">Mark read</button></form>
@endunless
            <form class="inline" method="post" action="/notifications/{{ $notification->id }}/delete">@csrf<button class="link danger">Delete</button></form>
        </div>
    </div>
@empty
    <p class="soft">There is nothing here.</p>
@endforelse
@if ($unread > 0)
    <form method="post" action="/notifications/read-all">@csrf<button>Mark all as read</button></form>
@endif
</section>
@include('partials.pages')
<section class="card">
    <h2>Remind me</h2>
    <form method="post" action="/notifications/reminders">
        @csrf
        <label for="title">What about?</label>
        <input id="title" name="title" value="{{ old('title') }}" maxlength="160" required> @include('partials.error', ['field' => 'title'])
        <label for="body">Details <span class="soft">(optional)</span></label>
        <textarea id="body" name="body" rows="3" maxlength="2000">{{ old('body') }}</textarea> @include('partials.error', ['field' => 'body']) @include('partials.error', ['field' => 'client_ref'])
        <button>Save the reminder</button>
    </form>
</section>
@endsection
