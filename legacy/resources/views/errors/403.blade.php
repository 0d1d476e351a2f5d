@extends('errors.layout')
@section('title', 'Not allowed')
@section('text', $exception->getMessage() ?: 'You may not do this.')
