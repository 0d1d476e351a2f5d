<?php

namespace App\Http\Controllers;

use App\Models\User;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Auth;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Hash;
use Illuminate\Validation\ValidationException;

class AuthController extends Controller
{
    public function showLogin()
    {
        return view('auth.login');
    }

    public function login(Request $request)
    {
        $credentials = $request->validate(['email' => 'required|string|email', 'password' => 'required|string']);
        if (! Auth::attempt($credentials)) {
            throw ValidationException::withMessages(['email' => 'These credentials do not match our records.']);
        }
        $request->session()->regenerate();
        DB::table('users')->where('id', Auth::id())->update(['last_login_at' => now()->toDateTimeString()]);

        return redirect()->intended('/home');
    }

    public function showRegister()
    {
        return view('auth.register');
    }

    public function register(Request $request)
    {
        $input = $request->validate([
            'name' => 'required|string|max:100',
            'email' => 'required|string|email|max:190|unique:users',
            'password' => 'required|string|min:6|max:72|confirmed',
            'phone' => 'nullable|string|max:40',
        ]);
        $input['password'] = Hash::make($input['password']);
        $user = DB::transaction(function () use ($input) {
            $user = User::create($input);
            $now = now()->toDateTimeString();
            DB::table('notification_preferences')->insert(['user_id' => $user->id, 'created_at' => $now, 'updated_at' => $now]);
            $this->center()->notify($user->id, 'system', 'Welcome to FinTech Connect', 'Your account is ready. You can make your first payment right away.');

            return $user;
        });
        Auth::login($user);
        $request->session()->regenerate();

        return redirect('/home');
    }

    public function logout(Request $request)
    {
        Auth::logout();
        $request->session()->invalidate();
        $request->session()->regenerateToken();

        return redirect('/login');
    }
}
