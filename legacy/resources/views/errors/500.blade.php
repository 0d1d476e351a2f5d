@extends('errors.layout')
@section('title', 'Something went wrong')
@section('text', 'It is our fault, and we have been told. Please try again in a few minutes.')
