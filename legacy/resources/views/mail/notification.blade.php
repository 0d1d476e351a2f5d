{!! $salutation !!},

{!! $notification->title !!}
@if ($notification->body !== null)

{!! $notification->body !!}
@endif

Your notifications: {!! config('app.url') !!}/notifications

FinTech Connect

You get this mail because you asked us to mail your notifications.
No more mails: {!! $unsubscribeUrl !!}
