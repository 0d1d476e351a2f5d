<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;

class Payment extends Model
{
    protected $fillable = ['user_id', 'merchant_id', 'amount', 'currency', 'status', 'provider_id', 'reference'];

    public function merchant()
    {
        return $this->belongsTo(Merchant::class);
    }

    public function toApi(): array
    {
        return [
            'id' => (int) $this->id,
            'merchant_id' => (int) $this->merchant_id,
            'merchant' => $this->merchant ? $this->merchant->name : null,
            'amount' => $this->amount,
            'currency' => $this->currency,
            'status' => $this->status,
            'provider_id' => $this->provider_id,
            'reference' => $this->reference,
            'created_at' => $this->attributes['created_at'],
        ];
    }
}
