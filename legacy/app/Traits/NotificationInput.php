<?php

namespace App\Traits;

use Illuminate\Http\Request;
use Illuminate\Support\Facades\Validator;

/** What the notification pages and the API accept; the two must not drift apart (they did in 2021). */
trait NotificationInput
{
    /** Validates these fields, and the client's own reference of the write. */
    protected function input(Request $request, array $rules = []): array
    {
        $input = $request->all();
        // Form posts and the app's first version have it in the body.
        $input['client_ref'] = $request->header('X-Client-Ref') ?: ($input['client_ref'] ?? null);
        if (is_array($input['quiet_hours'] ?? null) && ! array_filter($input['quiet_hours'])) {
            $input['quiet_hours'] = null;
        }

        return Validator::make($input, $rules + ['client_ref' => 'nullable|string|max:80'])->validate()
            + ['client_ref' => null];
    }

    protected function reminderInput(Request $request): array
    {
        return $this->input($request, [
            'title' => 'required|string|max:160',
            'body' => 'nullable|string|max:2000',
        ]) + ['body' => null];
    }

    /** Only the fields that the request names, and the client's reference. */
    protected function preferenceInput(Request $request): array
    {
        $input = $this->input($request, [
            'email_enabled' => 'sometimes|boolean',
            'sms_enabled' => 'sometimes|boolean',
            'digest' => 'sometimes|in:none,daily,weekly',
            'salutation' => 'sometimes|nullable|string|max:60|latin1',
            'max_per_day' => 'sometimes|integer|min:0|max:1000',
            'quiet_hours' => 'sometimes|nullable|array',
            'quiet_hours.from' => 'required_with:quiet_hours|date_format:H:i',
            'quiet_hours.to' => 'required_with:quiet_hours|date_format:H:i',
        ]);
        foreach (['email_enabled', 'sms_enabled', 'max_per_day'] as $field) {
            if (isset($input[$field])) {
                $input[$field] = (int) $input[$field];
            }
        }
        if (isset($input['quiet_hours'])) {
            $input['quiet_hours'] = ['from' => $input['quiet_hours']['from'], 'to' => $input['quiet_hours']['to']];
        }

        return [array_diff_key($input, ['client_ref' => 1]), $input['client_ref']];
    }
}
