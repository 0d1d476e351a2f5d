<?php

namespace App\Http\Controllers;

use Illuminate\Http\Request;
use Illuminate\Support\Facades\DB;

class HomeController extends Controller
{
    public function index(Request $request)
    {
        $user = $request->user();
        $month = now()->startOfMonth()->toDateTimeString();

        return view('home', [
            'user' => $user,
            'payments' => $user->payments()->with('merchant')->orderByDesc('id')->limit(5)->get(),
            'spent' => DB::table('transactions')->where('user_id', $user->id)->where('created_at', '>=', $month)->sum('amount'),
            'notifications' => $this->center()->query($user->id, true)->orderByDesc('id')->limit(5)->get(),
        ]);
    }
}
