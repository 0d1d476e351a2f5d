<?php

namespace App\Exceptions;

class PaymentFailed extends \RuntimeException
{
    /** Whether the provider said no; else there was no usable answer from it. */
    public bool $declined;

    public function __construct(string $message, bool $declined = false)
    {
        parent::__construct($message);
        $this->declined = $declined;
    }
}
