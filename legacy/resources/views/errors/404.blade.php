@extends('errors.layout')
@section('title', 'Not found')
@section('text', $exception->getMessage() ?: 'There is nothing at this address.')
