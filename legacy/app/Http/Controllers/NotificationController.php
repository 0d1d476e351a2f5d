<?php

namespace App\Http\Controllers;

use App\Models\NotificationPreference;
use App\Services\NotificationCenter;
use App\Traits\NotificationInput;
use Illuminate\Http\Request;

/** The notification pages and their forms. */
class NotificationController extends Controller
{
    use NotificationInput;

    public function index(Request $request)
    {
        $number = $this->pageNumber($request);
        $unreadOnly = $request->boolean('unread');
        $page = $this->center()->page($request->user()->id, $unreadOnly, $number);

        return view('notifications.index', $page + [
            'unreadOnly' => $unreadOnly,
            'number' => $number,
            'last' => $this->lastPage($page['total'], NotificationCenter::PER_PAGE),
        ]);
    }

    public function read(Request $request, $id)
    {
        $input = $this->input($request);
        abort_unless($this->center()->markRead($request->user()->id, $id, $input['client_ref']), 404, 'Notification not found.');

        return redirect('/notifications');
    }

    public function readAll(Request $request)
    {
        $input = $this->input($request);
        $count = $this->center()->markAllRead($request->user()->id, $input['client_ref']);

        return redirect('/notifications')->with('status', $count.' marked as read.');
    }

    public function destroy(Request $request, $id)
    {
        $input = $this->input($request);
        abort_unless($this->center()->delete($request->user()->id, $id, $input['client_ref']), 404, 'Notification not found.');

        return redirect('/notifications')->with('status', 'The notification is deleted.');
    }

    public function remind(Request $request)
    {
        $input = $this->reminderInput($request);
        $this->center()->remind($request->user()->id, $input['title'], $input['body'], $input['client_ref']);

        return redirect('/notifications')->with('status', 'Your reminder is saved.');
    }

    public function preferences(Request $request)
    {
        return view('notifications.preferences', ['preference' => NotificationPreference::of($request->user()->id)]);
    }

    public function savePreferences(Request $request)
    {
        [$changes, $ref] = $this->preferenceInput($request);
        $this->center()->savePreferences($request->user()->id, $changes, $ref);

        return redirect('/notifications/preferences')->with('status', 'Your preferences are saved.');
    }

    /** The link in a mail leads here; mail scanners open links, so that it takes one more click. */
    public function unsubscribeForm(Request $request)
    {
        $this->userOfLink($request);

        return view('notifications.unsubscribe', $request->only('email', 'token'));
    }

    /** Without session and CSRF: whoever has the link may, whoever is logged in. */
    public function unsubscribe(Request $request)
    {
        $user = $this->userOfLink($request);
        $ref = $request->header('X-Client-Ref') ?: $request->input('client_ref');
        abort_if($ref !== null && (! is_string($ref) || mb_strlen($ref) > 80), 422, 'The client ref must not be greater than 80 characters.');
        $this->center()->savePreferences($user->id, ['email_enabled' => 0], $ref, 'unsubscribe');

        return view('notifications.unsubscribed', ['email' => $user->email]);
    }

    private function userOfLink(Request $request)
    {
        [$email, $token] = [$request->input('email'), $request->input('token')];
        $user = is_string($email) && is_string($token) ? $this->center()->userOfLink($email, $token) : null;
        abort_unless($user, 403, 'This link is not valid.');

        return $user;
    }
}
