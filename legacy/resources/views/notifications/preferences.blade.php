@extends('layouts.app')
@section('title', 'Notification preferences')
@section('width', 'narrow')
@section('content')
<h1>Notification preferences</h1>
<form class="card" method="post" action="/notifications/preferences">
    @csrf
    <input type="hidden" name="email_enabled" value="0">
    <label class="check"><input type="checkbox" name="email_enabled" value="1"@if (old('email_enabled', $preference->email_enabled)) checked @endif> Mail me my notifications</label> @include('partials.error', ['field' => 'email_enabled'])
    <input type="hidden" name="sms_enabled" value="0">
    <label class="check"><input type="checkbox" name="sms_enabled" value="1"@if (old('sms_enabled', $preference->sms_enabled)) checked @endif> Text me about security</label> @include('partials.error', ['field' => 'sms_enabled'])
    <label for="digest">Summary</label>
    <select id="digest" name="digest">
@foreach (['none' => 'No summary', 'daily' => 'Every day', 'weekly' => 'Every week'] as $value => $label)
        <option value="{{ $value }}"@if (old('digest', $preference->digest) === $value) selected @endif>{{ $label }}</option>
@endforeach
    </select> @include('partials.error', ['field' => 'digest'])
    <label for="salutation">How shall we address you? <span class="soft">(optional)</span></label>
    <input id="salutation" name="salutation" value="{{ old('salutation', $preference->salutation) }}" maxlength="60" placeholder="Frau Dr. Müller"> @include('partials.error', ['field' => 'salutation'])
    <label for="max_per_day">Mails a day at most</label>
    <input id="max_per_day" name="max_per_day" type="number" min="0" max="1000" value="{{ old('max_per_day', $preference->max_per_day) }}" required> @include('partials.error', ['field' => 'max_per_day'])
    <label for="quiet_from">Quiet hours <span class="soft">(optional)</span></label>
    <input id="quiet_from" name="quiet_hours[from]" type="time" value="{{ old('quiet_hours.from', $preference->quietHours()->from ?? '') }}"> to
    <input name="quiet_hours[to]" type="time" value="{{ old('quiet_hours.to', $preference->quietHours()->to ?? '') }}" aria-label="End of the quiet hours"> @include('partials.error', ['field' => 'quiet_hours']) @include('partials.error', ['field' => 'quiet_hours.from']) @include('partials.error', ['field' => 'quiet_hours.to']) @include('partials.error', ['field' => 'client_ref'])
    <p><button>Save</button></p>
</form>
<p class="soft"><a href="/notifications">Back to the notifications</a></p>
@endsection
