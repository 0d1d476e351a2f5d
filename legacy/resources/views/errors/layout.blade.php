@extends('layouts.app')
@section('width', 'narrow')
@section('content')
<h1>@yield('title')</h1>
<p class="card">@yield('text')</p>
<p><a href="/home">To the overview</a></p>
@endsection
