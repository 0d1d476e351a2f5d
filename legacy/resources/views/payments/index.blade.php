@extends('layouts.app')
@section('title', 'Payments')
@section('content')
<div class="heading"><h1>Payments</h1><a href="/payments/new">New payment</a></div>
<section class="card">
    @include('payments.table')
</section>
@include('partials.pages')
@endsection
