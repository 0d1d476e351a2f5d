<?php

namespace App\Http\Controllers\Api;

use App\Http\Controllers\Controller;
use App\Models\NotificationPreference;
use App\Services\NotificationCenter;
use App\Traits\NotificationInput;
use Illuminate\Http\Request;

class NotificationController extends Controller
{
    use NotificationInput;

    public function index(Request $request)
    {
        $number = $this->pageNumber($request);
        $page = $this->center()->page($request->user()->id, $request->boolean('unread'), $number);

        return $this->json([
            'data' => $page['rows']->map->toApi(),
            'page' => $number,
            'per_page' => NotificationCenter::PER_PAGE,
            'total' => $page['total'],
            'unread' => $page['unread'],
        ]);
    }

    public function unreadCount(Request $request)
    {
        return $this->json(['unread' => $this->center()->unreadCount($request->user()->id)]);
    }

    public function read(Request $request, $id)
    {
        $input = $this->input($request);
        $notification = $this->center()->markRead($request->user()->id, $id, $input['client_ref']);

        return $notification ? $this->json($notification->toApi()) : $this->notFound();
    }

    public function readAll(Request $request)
    {
        $input = $this->input($request);

        return $this->json(['updated' => $this->center()->markAllRead($request->user()->id, $input['client_ref'])]);
    }

    public function destroy(Request $request, $id)
    {
        $input = $this->input($request);
        $deleted = $this->center()->delete($request->user()->id, $id, $input['client_ref']);

        return $deleted ? response()->noContent() : $this->notFound();
    }

    public function store(Request $request)
    {
        $input = $this->reminderInput($request);
        $notification = $this->center()->remind($request->user()->id, $input['title'], $input['body'], $input['client_ref']);

        return $this->json($notification->toApi(), 201);
    }

    public function preferences(Request $request)
    {
        return $this->json(NotificationPreference::of($request->user()->id)->toApi());
    }

    public function savePreferences(Request $request)
    {
        [$changes, $ref] = $this->preferenceInput($request);

        return $this->json($this->center()->savePreferences($request->user()->id, $changes, $ref)->toApi());
    }

    private function notFound()
    {
        return $this->json(['message' => 'Notification not found.'], 404);
    }
}
