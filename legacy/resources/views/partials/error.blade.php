@foreach ($errors->get($field) as $message)
<div class="error">{{ $message }}</div>
@endforeach
