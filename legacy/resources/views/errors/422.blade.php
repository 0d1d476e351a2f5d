@extends('errors.layout')
@section('title', 'That did not work')
@section('text', $exception->getMessage())
