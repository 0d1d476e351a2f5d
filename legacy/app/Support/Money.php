<?php

namespace App\Support;

/** Amounts are decimal strings; floats lose cents. */
class Money
{
    /** "12.5" => "12.50" */
    public static function normalize($amount): string
    {
        return bcadd((string) $amount, '0', 2);
    }

    /** "1234.5" => "1,234.50 EUR" */
    public static function show($amount, string $currency = 'EUR'): string
    {
        [$whole, $cents] = explode('.', self::normalize($amount));

        return preg_replace('/\B(?=(\d{3})+$)/', ',', $whole).'.'.$cents.' '.$currency;
    }
}
