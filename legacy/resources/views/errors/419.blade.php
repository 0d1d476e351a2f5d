@extends('errors.layout')
@section('title', 'Page Expired')
@section('text', 'The page was open for too long. Please go back, reload it, and try again.')
