;; Tries to open files outside its grant, from every directory it was given, and prints the errno of each try.
;; Exit 0: everything was refused, as it should be. Exit 42: something opened.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)

  (data (i32.const 256) "/etc/passwd")
  (data (i32.const 288) "../../../../../../../../etc/passwd")
  (data (i32.const 352) "../../../../proc/self/mem")
  (data (i32.const 1024) "open ")
  (data (i32.const 1040) ": errno ")
  (data (i32.const 1056) "\n")

  (global $opened (mut i32) (i32.const 0))

  (func $print (param $text i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  ;; The number in decimal, written backwards to the bytes that end at 64.
  (func $print_number (param $number i32)
    (local $at i32)
    (local.set $at (i32.const 64))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $digit (local.get $number)))
    (call $print (local.get $at) (i32.sub (i32.const 64) (local.get $at))))

  ;; Asks for no more than to read (rights fd_read = 2), so that nothing but the path can be refused.
  (func $try (param $directory i32) (param $path i32) (param $length i32)
    (local $errno i32)
    (local.set $errno
      (call $path_open (local.get $directory) (i32.const 0) (local.get $path) (local.get $length)
        (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 16)))
    (if (i32.eqz (local.get $errno)) (then (global.set $opened (i32.const 1))))
    (call $print (i32.const 1024) (i32.const 5))
    (call $print (local.get $path) (local.get $length))
    (call $print (i32.const 1040) (i32.const 8))
    (call $print_number (local.get $errno))
    (call $print (i32.const 1056) (i32.const 1)))

  (func (export "_start")
    (local $directory i32)
    (local.set $directory (i32.const 3))
    ;; Do, while the next number is a granted directory: with no grant at all, number 3 is tried once.
    (loop $next
      (call $try (local.get $directory) (i32.const 256) (i32.const 11))
      (call $try (local.get $directory) (i32.const 288) (i32.const 34))
      (call $try (local.get $directory) (i32.const 352) (i32.const 25))
      (local.set $directory (i32.add (local.get $directory) (i32.const 1)))
      (br_if $next (i32.eqz (call $fd_prestat_get (local.get $directory) (i32.const 24)))))
    (if (global.get $opened) (then (call $proc_exit (i32.const 42))))))
